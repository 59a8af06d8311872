with history as (

    select * from {{ ref('merchant_terms_history') }}

),

numbered as (

    select
        *,
        row_number() over (partition by merchant_id order by dbt_valid_from) as version_number
    from history

)

select
    merchant_id,
    partner_code,
    points_per_unit,
    minimum_amount,
    -- The first version that was ever seen stands for all the time before it.
    case
        when version_number = 1 then '-infinity'::timestamptz
        else dbt_valid_from
    end as valid_from,
    coalesce(dbt_valid_to, 'infinity'::timestamptz) as valid_to
from numbered
