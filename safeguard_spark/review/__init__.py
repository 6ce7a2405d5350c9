"""People in the loop: the sample that is reviewed, the console, its decisions, and the rates they give."""
