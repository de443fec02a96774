"""Tables: their files, the types of their columns, their targets, and what a network gets of them."""
