// What came of all that was played, in lines or as JSON, and whether it is good.
#pragma once

#include "replay/compare.hpp"

namespace replay {

struct report_options {
    bool verbose = false;     ///< a line for each frame
    bool json = false;        ///< one object, at the end
    bool all_listed = false;  ///< a listed difference is stale, too, when its session was not played
};

class report {
public:
    explicit report(const report_options& options) : options_(options) {}

    void add(verdict v);
    /// A side that the file calls the reference's, and that was a script.
    void add_scripted(const session& s, side who);
    void add_failure(const std::string& text);

    /// Looks for changes of the list of differences that did not come where they must; call it when all is played.
    void find_stale();

    [[nodiscard]] bool good() const;
    void print_end(std::size_t sessions) const;

private:
    void look_for(const listed& where, std::string_view session_name);
    void print(const verdict& v) const;
    void print_json(std::size_t sessions) const;
    [[nodiscard]] verdict total() const;

    report_options options_;
    std::vector<verdict> verdicts_;
    std::vector<std::string> failures_;
    std::set<std::string> notes_;
    std::set<std::pair<listed, std::string>> used_;
};

}  // namespace replay
