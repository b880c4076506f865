#include "any_store.hpp"

namespace tool {

any_store::any_store(const std::string& option, store_access access) {
    // What is behind the colon may hold a password: it is not quoted in any message.
    const auto colon = option.find(':');
    const std::string kind = option.substr(0, colon);
    const std::string where = colon == std::string::npos ? "" : option.substr(colon + 1);
    result<void> opened;
    if (where.empty())
        opened = fail(errc::invalid_argument, "nothing is behind the colon");
    else if (kind == "sqlite")
        opened = emplace<sqlite_store>(where, access).status();
    else if (kind == "file")
        opened = emplace<file_store>(where, access).status();
    else if (kind == "postgres" || kind == "postgresql")
        opened = emplace<postgres_store>(where.starts_with("//") ? "postgresql:" + where : where, access).status();
    if (!is_open())
        throw usage_error{
            "--store must look like sqlite:FILE, file:FOLDER or postgres:CONNECTION, for example sqlite:channels.db or "
            "\"postgres:host=db.example dbname=channels\""};
    if (opened) return;
    const errc code = opened.error().code;
    if (code == errc::store_failed || code == errc::corrupt_record) throw_store(opened.error(), last_error());
    throw usage_error{"--store: " + last_error()};
}

}  // namespace tool
