"""Settings, providers and their versions."""


def up(migrator, db):
    from models.provider_checks import ProviderState, ProviderTest
    from models.providers import StoredProvider
    from models.settings import StoredSetting
    from models.versions import Version

    db.create_tables([StoredSetting, StoredProvider, ProviderState, ProviderTest, Version], safe=True)
