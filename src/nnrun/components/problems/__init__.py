"""The kinds of learning problem: one file per problem."""
