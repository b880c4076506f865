# replay must find what is wrong: each case is a folder with one session that was spoilt, and words that must be said of it.
#   cmake -DREPLAY=PROGRAM -DSESSIONS=test/vectors/bitcoinj -DFOLDER=SCRATCH -P must_fail.cmake
file(REMOVE_RECURSE "${FOLDER}")

# The session `from`, with `old` (which must be there) replaced by `new`, as the only file of a folder, under the name `to`.
function(spoil folder from to old new)
    file(READ "${SESSIONS}/${from}.json" text)
    string(FIND "${text}" "${old}" at)
    if(NOT old STREQUAL "" AND at EQUAL -1)
        message(FATAL_ERROR "${from} has no \"${old}\" to spoil: mend must_fail.cmake")
    endif()
    if(NOT old STREQUAL "")
        string(REPLACE "${old}" "${new}" text "${text}")
    endif()
    file(WRITE "${FOLDER}/${folder}/${to}.json" "${text}")
endfunction()

# replay ARGN... must end with `status` and print `words`.
function(expect status words)
    execute_process(COMMAND "${REPLAY}" ${ARGN} RESULT_VARIABLE got OUTPUT_VARIABLE out ERROR_VARIABLE err)
    if(NOT got EQUAL status)
        message(SEND_ERROR "replay ${ARGN}: exit status ${got}, not ${status}\n${out}${err}")
    endif()
    string(FIND "${out}${err}" "${words}" at)
    if(at EQUAL -1)
        message(SEND_ERROR "replay ${ARGN} does not say \"${words}\"\n${out}${err}")
    endif()
endfunction()

# What is right, first: a session alone, so that the rest fails for what was spoilt.
spoil(good raw_good.v2 raw_good.v2 "" "")
expect(0 "ok    raw_good.v2 server: 7 frames equal" "${FOLDER}/good")
expect(0 "\"ok\": true" --json "${FOLDER}/good")
expect(0 "--verbose" --help)

# The server's word is another: a byte in an acknowledgement.
spoil(byte raw_good.v2 raw_good.v2 "\"080b5a040a026930\"" "\"080b5a040a026931\"")
expect(1 "reference: PAYMENT_ACK i1, ours: PAYMENT_ACK i0" "${FOLDER}/byte")
expect(1 "\"ok\": false" --json "${FOLDER}/byte")
# So is a field that our server has a default of its own for.
spoil(term raw_good.v2 raw_good.v2 "20e807\"" "20e907\"")
expect(1 "reference: INITIATE, ours: INITIATE" "${FOLDER}/term")
# The client's word is another: our server refuses what the reference took.
spoil(payment raw_good.v2 raw_good.v2 "3044022" "3144022")
expect(1 "ours: ERROR BAD_TRANSACTION" "${FOLDER}/payment")
# The clock is another, and so is the expiry.
spoil(clock raw_good.v1 raw_good.v1 "\"time\": 1700000000" "\"time\": 1700000001")
expect(1 "reference: INITIATE, ours: INITIATE" "${FOLDER}/clock")
# The same makes an expiry at our client's limit one second too late: no listed difference allows it to refuse that.
spoil(limit fake_expire_at_limit.v2 fake_expire_at_limit.v2 "\"time\": 1700000000" "\"time\": 1699999999")
expect(1 "reference: PROVIDE_CONTRACT, ours: ERROR TIME_WINDOW_UNACCEPTABLE" "${FOLDER}/limit")
# The application was told of another amount.
spoil(told raw_good.v2 raw_good.v2 "\"by\": 7000" "\"by\": 7001")
expect(1 "payments: the reference told its application" "${FOLDER}/told")
# Another kind of message.
spoil(code raw_version_0.v2 raw_version_0.v2 "\"frame\": \"080a52" "\"frame\": \"080b5a")
expect(1 "reference: PAYMENT_ACK, ours: ERROR NO_ACCEPTABLE_VERSION" "${FOLDER}/code")
# The reference ends a connection that we leave open.
spoil(end raw_idle_open.v2 raw_idle_open.v2 "\"from\": \"client\",\n   \"frame\": null" "\"from\": \"server\",\n   \"frame\": null")
expect(1 "reference: hangs up, ours: nothing" "${FOLDER}/end")

# That our client's owner ends a connection as the recorded one did is not our client's doing.
spoil(owner fake_idle.v2 fake_idle.v2 "" "")
expect(0 "1 frame equal\n" "${FOLDER}/owner")
expect(0 "- connection 1: reference: hangs up, ours: its owner ends" --verbose "${FOLDER}/owner")

# A difference that is listed, but for other sessions.
spoil(unlisted_error raw_update_before_open.v2 raw_good.v2 "" "")
expect(1 "reference: hangs up, ours: ERROR SYNTAX_ERROR" "${FOLDER}/unlisted_error")
spoil(unlisted_close server_settle.v1 raw_good.v1 "" "")
expect(1 "reference: CLOSE, ours: CLOSE with settlement" "${FOLDER}/unlisted_close")
spoil(unlisted_minimum fake_min_payment_1001.v2 fake_good.v2 "" "")
expect(1 "reference: ERROR MIN_PAYMENT_TOO_LARGE 1000, ours: PROVIDE_CONTRACT" "${FOLDER}/unlisted_minimum")
spoil(unlisted_again resume.v1 fake_good.v1 "" "")
expect(1 "reference: nothing, ours: UPDATE_PAYMENT again" "${FOLDER}/unlisted_again")

# A listed difference that does not come any more, whether or not another one of its entry does.
spoil(stale fake_good.v1 fake_min_payment_1001.v1 "" "")
expect(1 "a listed difference did not come any more" "${FOLDER}/stale")
spoil(stale_change fake_min_payment_1001.v1 fake_min_payment_1001.v2 "" "")
expect(1 "did not come any more: reference: ERROR MIN_PAYMENT_TOO_LARGE *, ours: PROVIDE_CONTRACT" "${FOLDER}/stale_change")
expect(1 "the session was not played" --all-listed "${FOLDER}/good")

# Files that are no sessions, and folders without any.
spoil(option raw_good.v2 raw_good.v2 "\"ack\":" "\"nack\":")
expect(1 "the option \"nack\" of the server is new" "${FOLDER}/option")
spoil(nobody raw_good.v2 raw_good.v2 "\"reference_is\": \"server\"" "\"reference_is\": \"client\"")
expect(1 "nothing to play" "${FOLDER}/nobody")
file(WRITE "${FOLDER}/torn/raw_good.v2.json" "{\"name\": \"raw_good\", \"exchange\": [")
expect(1 "is not a recorded session" "${FOLDER}/torn")
file(WRITE "${FOLDER}/other/list.json" "[]")
expect(1 "it has no \"reference_is\"" "${FOLDER}/other")
file(MAKE_DIRECTORY "${FOLDER}/empty")
expect(1 "holds no *.json" "${FOLDER}/empty")
expect(1 "does not exist" "${FOLDER}/nowhere")
expect(2 "give a folder of recorded sessions")
expect(2 "there is no option --quick" --quick "${FOLDER}/good")
