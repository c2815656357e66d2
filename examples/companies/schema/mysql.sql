-- The two tables of the companies example, for MariaDB 10.5 and MySQL 8 and later.
CREATE TABLE IF NOT EXISTS company_regist_info (
    id                  BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name                VARCHAR(255) NOT NULL,
    source_url          VARCHAR(255) NOT NULL,
    registered_capital  VARCHAR(64),
    oper_name           VARCHAR(128),
    founded_date        DATE,
    company_type        VARCHAR(128),
    status_of_operation VARCHAR(64),
    business_scope      TEXT,
    registered_addr     VARCHAR(512),
    term_start          DATE,
    term_end            DATE,
    regist_authority    VARCHAR(255),
    check_date          DATE,
    company_logo        VARCHAR(255) NOT NULL DEFAULT '',
    reg_num             VARCHAR(64) NOT NULL,
    province            VARCHAR(64),
    city                VARCHAR(64),
    county              VARCHAR(64),
    created_time        DATETIME(6) NOT NULL,
    update_time         DATETIME(6) NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE IF NOT EXISTS stockholder (
    id                BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    company_id        BIGINT UNSIGNED NOT NULL,
    stock_type        VARCHAR(64),
    stock_name        VARCHAR(255) NOT NULL,
    certificate_type  VARCHAR(64),
    certificate_info  VARCHAR(128),
    subscribe_capital VARCHAR(64),
    subs_capi_date    DATE NOT NULL,
    subs_capi_way     VARCHAR(64),
    real_capital      VARCHAR(64),
    real_capi_date    DATE NOT NULL,
    real_capi_way     VARCHAR(64),
    stock_percent     VARCHAR(16),
    created_time      DATETIME(6) NOT NULL,
    update_time       DATETIME(6) NOT NULL,
    CONSTRAINT stockholder_company FOREIGN KEY (company_id) REFERENCES company_regist_info (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
