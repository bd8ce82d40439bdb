"""Who may do what: OpenFGA's modelling language, a graph of relationship tuples, and the questions that are asked of both."""
