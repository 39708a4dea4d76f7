-- dbt-trino. Each statement ends with `;` at the end of a line; `-- rows: N` says how many it answers.

-- rows: 1
/* {"app": "dbt", "dbt_version": "1.11.16"} */
select 1 as id;

-- rows: 2
/* {"app": "dbt"} */
      select t.table_catalog as "database", t.table_name as name, t.table_schema as schema,
        case when mv.name is not null then 'materialized_view'
             when t.table_type = 'BASE TABLE' then 'table' when t.table_type = 'VIEW' then 'view'
             else t.table_type end as table_type
      from "tax".INFORMATION_SCHEMA.tables t
      left join (select * from system.metadata.materialized_views where catalog_name = 'tax') mv
        on mv.catalog_name = t.table_catalog and mv.schema_name = t.table_schema and mv.name = t.table_name
      where t.table_schema = 'main';

-- rows: 6
with tables as (
        select table_catalog as "table_database", table_schema as "table_schema", table_name as "table_name",
          table_type as "table_type", null as "table_owner"
        from "tax".INFORMATION_SCHEMA.tables where table_schema != 'information_schema'),
      columns as (
        select table_catalog as "table_database", table_schema as "table_schema", table_name as "table_name",
          column_name as "column_name", ordinal_position as "column_index", data_type as "column_type",
          comment as "column_comment"
        from "tax".INFORMATION_SCHEMA.columns where table_schema != 'information_schema')
      select tables.table_database, tables.table_name, column_name, column_index, column_type, column_comment
      from tables join columns on tables."table_database" = columns."table_database"
        and tables."table_schema" = columns."table_schema" and tables."table_name" = columns."table_name"
      order by "column_index";
