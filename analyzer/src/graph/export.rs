//! The graph as JSON or as DOT (Graphviz), busiest edges first.

