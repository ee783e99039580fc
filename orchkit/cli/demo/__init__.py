"""The demo: a durable document pipeline that is run, killed, resumed, asked, compared and reported."""
