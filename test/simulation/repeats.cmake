# The same seeds do the same, bit for bit, however many processes share the work.
#   cmake -DSIMULATION=<program> -P repeats.cmake
cmake_minimum_required(VERSION 3.25)
foreach(jobs 1 3)
    execute_process(COMMAND "${SIMULATION}" --seed 5000 --histories 300 --jobs ${jobs} --json OUTPUT_VARIABLE said
                    COMMAND_ERROR_IS_FATAL ANY)
    string(JSON digest GET "${said}" digest)
    message("${jobs} processes: digest ${digest}")
    list(APPEND digests ${digest})
endforeach()
list(REMOVE_DUPLICATES digests)
list(LENGTH digests different)
if(NOT different EQUAL 1)
    message(FATAL_ERROR "the simulation is not deterministic")
endif()
