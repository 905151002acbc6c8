#!/bin/sh
# Runs once, when the PostgreSQL container makes its data directory. Two roles, neither a superuser: one owns the database and
# migrates it, the other serves. What the second may do, `farebox migrate` grants; changing the ledger is not among it.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$FAREBOX_DB_PASSWORD" -v owner_password="$FAREBOX_DB_OWNER_PASSWORD" \
  --username "$POSTGRES_USER" --dbname postgres <<'SQL'
create role farebox_owner login password :'owner_password';
create role farebox login password :'password';
create database farebox owner farebox_owner;
revoke all on database farebox from public;
SQL
