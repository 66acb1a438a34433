"""report.html: one page that shows what a run learnt, with the model's own decoder in it."""
