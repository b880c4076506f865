#include "any_store.hpp"

#include "options.hpp"

namespace tool {

using namespace paychan;

any_store::any_store(const std::string& option, store_access access) {
    // What is behind the colon may hold a password: it is not quoted in any message.
    const auto colon = option.find(':');
    const std::string kind = option.substr(0, colon);
    const std::string where = colon == std::string::npos ? "" : option.substr(colon + 1);
    result<void> opened;
    if (where.empty())
        opened = fail(errc::invalid_argument, "nothing is behind the colon");
    else if (kind == "sqlite")
        opened = store_.emplace<sqlite_store>(where, access).status();
    else if (kind == "file")
        opened = store_.emplace<file_store>(where, access).status();
    else if (kind == "postgres" || kind == "postgresql")
        opened =
            store_.emplace<postgres_store>(where.starts_with("//") ? "postgresql:" + where : where, access).status();
    if (store_.index() == 0)
        throw usage_error{
            "--store must look like sqlite:FILE, file:FOLDER or postgres:CONNECTION, for example sqlite:channels.db or "
            "\"postgres:host=db.example dbname=channels\""};
    if (opened) return;
    if (opened.error().code == errc::store_failed) throw store_away{{"--store: " + last_error()}};
    if (opened.error().code == errc::corrupt_record) throw run_error{"--store: " + last_error()};
    throw usage_error{"--store: " + last_error()};
}

std::string any_store::last_error() const {
    return std::visit(
        [](const auto& s) -> std::string {
            if constexpr (requires { s.last_error(); })
                return s.last_error();
            else
                return "there is no store";
        },
        store_);
}

}  // namespace tool
