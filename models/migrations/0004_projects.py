"""Projects, boards and tasks."""


def up(migrator, db):
    from models.projects import BoardColumn, Project, ProjectAgent, Workflow
    from models.tasks import Dependency, Task, TaskEvent, TaskRun

    db.create_tables([Project, BoardColumn, Workflow, ProjectAgent, Task, Dependency, TaskEvent, TaskRun], safe=True)
