-- The two tables of the companies example, for SQLite. SQLite does not hold text to a declared length, so CHECKs do.
CREATE TABLE IF NOT EXISTS company_regist_info (
    id                  INTEGER PRIMARY KEY,
    name                TEXT NOT NULL CHECK (length(name) <= 255),
    source_url          TEXT NOT NULL CHECK (length(source_url) <= 255),
    registered_capital  TEXT CHECK (length(registered_capital) <= 64),
    oper_name           TEXT CHECK (length(oper_name) <= 128),
    founded_date        TEXT,
    company_type        TEXT CHECK (length(company_type) <= 128),
    status_of_operation TEXT CHECK (length(status_of_operation) <= 64),
    business_scope      TEXT,
    registered_addr     TEXT CHECK (length(registered_addr) <= 512),
    term_start          TEXT,
    term_end            TEXT,
    regist_authority    TEXT CHECK (length(regist_authority) <= 255),
    check_date          TEXT,
    company_logo        TEXT NOT NULL DEFAULT '',
    reg_num             TEXT NOT NULL CHECK (length(reg_num) <= 64),
    province            TEXT,
    city                TEXT,
    county              TEXT,
    created_time        TEXT NOT NULL,
    update_time         TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS stockholder (
    id                INTEGER PRIMARY KEY,
    company_id        INTEGER NOT NULL REFERENCES company_regist_info (id),
    stock_type        TEXT,
    stock_name        TEXT NOT NULL CHECK (length(stock_name) <= 255),
    certificate_type  TEXT,
    certificate_info  TEXT CHECK (length(certificate_info) <= 128),
    subscribe_capital TEXT CHECK (length(subscribe_capital) <= 64),
    subs_capi_date    TEXT NOT NULL,
    subs_capi_way     TEXT,
    real_capital      TEXT CHECK (length(real_capital) <= 64),
    real_capi_date    TEXT NOT NULL,
    real_capi_way     TEXT,
    stock_percent     TEXT,
    created_time      TEXT NOT NULL,
    update_time       TEXT NOT NULL
);

CREATE INDEX IF NOT EXISTS stockholder_company_id ON stockholder (company_id);
