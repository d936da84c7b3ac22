"""Write metrics, evaluations and the report, and explain failures."""
