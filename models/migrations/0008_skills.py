"""Skills."""


def up(migrator, db):
    from models.skill_grants import SkillGrant, SkillPin
    from models.skill_imports import SkillImport
    from models.skills import Skill, SkillBlob, SkillVersion

    db.create_tables([Skill, SkillVersion, SkillBlob, SkillGrant, SkillPin, SkillImport], safe=True)
