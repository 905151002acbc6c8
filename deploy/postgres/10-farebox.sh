#!/bin/sh
# Runs once, when the PostgreSQL container makes its data directory: farebox gets a role that owns its database and is no superuser.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$FAREBOX_DB_PASSWORD" --username "$POSTGRES_USER" --dbname postgres <<'SQL'
create role farebox login password :'password';
create database farebox owner farebox;
SQL
