"""The timeline: events know their project, and which of them it shows; the indexes of it and of agents' sessions."""


def up(migrator, db):
    from models.events import TIMELINE, StoredEvent
    from models.visits import VisitRow

    known = {column.name for column in db.get_columns("events")}
    for name, type in {"project_id": "TEXT", "timeline": "SMALLINT"}.items():
        if name not in known:
            db.execute_sql(f"ALTER TABLE events ADD COLUMN {name} {type}")
    if "timeline" not in known:
        for type, value in TIMELINE.items():
            db.execute_sql(f"UPDATE events SET timeline = {value} WHERE type = '{type}'")
        db.execute_sql("UPDATE events SET project_id = (SELECT project_id FROM runs WHERE id = stream)")
    db.create_tables([StoredEvent, VisitRow], safe=True)
