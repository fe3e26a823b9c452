"""The compared models, a file each; VAELLS is measured beside them."""
