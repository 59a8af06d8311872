{% test keeps_every_row_of(model, source_model) %}

select
    (select count(*) from {{ model }}) as rows_here,
    (select count(*) from {{ source_model }}) as rows_there
where
    (select count(*) from {{ model }}) <> (select count(*) from {{ source_model }})

{% endtest %}
