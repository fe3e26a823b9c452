"""The baselines, models that VAELLS is compared with: a file each."""
