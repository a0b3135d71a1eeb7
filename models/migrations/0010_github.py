"""GitHub: deliveries, triggers and what they started, the App, caches; runs know whether their text is trusted."""


def up(migrator, db):
    from models import triggers
    from models.deliveries import Delivery
    from models.firings import Firing, GitHubComment
    from models.github_approvals import GitHubApproval
    from models.github_apps import GitHubApp
    from models.github_cache import GitHubInstallation, GitHubQuestion, GitHubRepository, GitHubState

    caches = [GitHubInstallation, GitHubQuestion, GitHubRepository, GitHubState]
    db.create_tables([Delivery, triggers.Trigger, Firing, GitHubComment, GitHubApproval, GitHubApp, *caches], safe=True)
    triggers.add_built_in()
    if "tainted_by" not in {column.name for column in db.get_columns("runs")}:
        db.execute_sql("ALTER TABLE runs ADD COLUMN tainted_by TEXT")
