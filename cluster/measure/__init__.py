"""Measurements on throwaway processes: `probe`, which is kept in the summary, and the calibration of `plan`."""
