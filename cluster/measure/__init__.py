"""Measurements in throwaway processes: `probe`, whose rows the summary keeps, and the calibration of `plan`."""
