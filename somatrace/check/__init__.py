"""The build fails when a service would run untraced: what a launcher starts is followed, never run."""
