{%- macro business_date(instant) -%}
    ({{ instant }} at time zone '{{ var("business_time_zone") }}')::date
{%- endmacro %}
