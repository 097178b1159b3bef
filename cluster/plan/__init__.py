"""What a study will take, before it is run: its work by arithmetic, its seconds and bytes by a short calibration."""
