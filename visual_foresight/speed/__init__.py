"""What `visual-foresight bench` measures: times of whole repetitions, beside limits of the machine of the same run."""
