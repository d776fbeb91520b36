"""The HTTP side: REST, the live stream and the built-in page.

One process reads opinions, windows and alerts into bounded memory and answers from there, so a
slow reader of the API never touches the broker. Nothing here decides anything about sentiment.

    app.py       create_app and serve: the only place of the gateway that wires
    store.py     the read model, pure;  feed.py  the alert log behind the live stream, pure
    reader.py    Kafka → read model;    intake.py  POSTed texts → Kafka
    routes.py    the REST routes;       sse.py  the stream;  page.py  the page and its files
    shapes.py    what the API answers;  problems.py  how it says no;  guard.py  who may ask
    metrics.py   Prometheus
"""
