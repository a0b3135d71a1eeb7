"""Signing in with a browser."""


def up(migrator, db):
    from models.logins import Login, LoginLink

    db.create_tables([Login, LoginLink], safe=True)
