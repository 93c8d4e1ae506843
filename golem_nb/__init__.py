"""golem_nb."""
