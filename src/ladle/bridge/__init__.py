"""Models of other libraries, as models of ladle's."""
