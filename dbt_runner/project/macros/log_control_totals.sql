{#-
    After a run that built partner_batch_totals: one event that holds the newest totals as JSON. The runner puts them into
    its summary, so that a trailer can be checked against the warehouse without another query. Counts and sums only.
-#}
{%- macro log_control_totals(results) -%}
    {%- if execute -%}
        {%- for result in results if result.node.name == 'partner_batch_totals' and result.status == 'success' -%}
            {%- set totals = run_query(
                'select partner_code, business_date::text, transaction_count, amount_total::text, currency, points_total from '
                ~ result.node.relation_name ~ ' order by business_date desc, partner_code limit 60'
            ) -%}
            {%- set rows = [] -%}
            {%- for row in totals.rows -%}
                {%- do rows.append({
                    'partner': row[0],
                    'business_date': row[1],
                    'transactions': row[2] | int,
                    'amount': row[3] | string,
                    'currency': row[4],
                    'points': row[5] | int,
                }) -%}
            {%- endfor -%}
            {%- do log('control totals: ' ~ tojson(rows), info=false) -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}
