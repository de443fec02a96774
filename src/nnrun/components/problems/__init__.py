"""What kind of learning a run is: one file each."""
