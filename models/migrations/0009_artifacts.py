"""What files a step changed."""


def up(migrator, db):
    if "artifacts" not in {column.name for column in db.get_columns("visits")}:
        db.execute_sql("ALTER TABLE visits ADD COLUMN artifacts TEXT")
