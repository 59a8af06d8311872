with accruals as (

    select * from {{ ref('partner_daily_accruals') }}

)

select
    partner_code,
    business_date,
    count(*) as transaction_count,
    sum(amount)::numeric(16, 2) as amount_total,
    min(currency) as currency,
    count(distinct currency) as currency_count,
    sum(points) as points_total
from accruals
group by partner_code, business_date
