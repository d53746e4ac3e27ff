/*
 * Command lines: what is understood, and what is said about the rest.
 */
#include "cli/args.h"

#include "cli/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct tg_option serve_options[] = {{"single", "", NULL},
                                                 {"quiet", "", NULL},
                                                 {"admin", "", "ADDRESS"},
                                                 {"H", "", "FIELD"},
                                                 {NULL, NULL, NULL}};
static const struct tg_command serve = {
    .name = "serve", .operands = "[FILE]", .max_operands = 1, .options = serve_options};
static const struct tg_command check = {.name = "check", .operands = "[FILE]", .max_operands = 1};
static const struct tg_command version = {.name = "version", .operands = ""};
static const struct tg_command help = {.name = "help", .operands = "[COMMAND]", .max_operands = 1};
static const struct tg_command *const commands[] = {&serve, &check, &version, &help, NULL};

static struct tg_args args;
static char said[512];

#define PARSE(...) parse((char *[]){"tidegate", __VA_ARGS__, NULL})

static enum tg_err parse(char **argv)
{
    int argc = 0;
    FILE *err = fmemopen(said, sizeof(said), "w");
    enum tg_err result;

    said[0] = '\0';
    while (argv[argc] != NULL)
        argc++;
    result = tg_args_parse(commands, argc, argv, &args, err);
    fclose(err);
    return result;
}

static void test_command_alone(void **state)
{
    (void)state;
    assert_int_equal(PARSE("serve"), TG_OK);
    assert_ptr_equal(args.command, &serve);
    assert_int_equal(args.operand_count, 0);
    assert_int_equal(args.options, 0);
    assert_string_equal(said, "");
}

static void test_an_option_has_a_value(void **state)
{
    (void)state;
    assert_int_equal(PARSE("serve", "--admin", "1.2.3.4:5", "a.lua"), TG_OK);
    assert_int_equal(args.options, 4);
    assert_string_equal(args.values[2], "1.2.3.4:5");
    assert_string_equal(args.operands[0], "a.lua");
    assert_int_equal(PARSE("serve", "--quiet", "--admin=--x"), TG_OK);
    assert_string_equal(args.values[2], "--x");
    assert_null(args.values[1]);
    assert_int_equal(PARSE("serve", "--admin"), TG_E_INVALID);
    assert_non_null(strstr(said, "--admin ADDRESS"));
    assert_int_equal(PARSE("serve", "--single=yes"), TG_E_INVALID);
    assert_int_equal(PARSE("serve", "--administer=x"), TG_E_INVALID);
}

static void test_a_letter_has_one_dash_and_values_come_in_their_order(void **state)
{
    (void)state;
    assert_int_equal(PARSE("serve", "-H", "a", "--admin", "b", "-H=c", "file"), TG_OK);
    assert_int_equal(args.given_count, 3);
    assert_int_equal(args.given[0].option, 3);
    assert_string_equal(args.given[0].value, "a");
    assert_int_equal(args.given[1].option, 2);
    assert_string_equal(args.given[2].value, "c");
    assert_string_equal(args.values[3], "c");
    assert_string_equal(args.operands[0], "file");
    assert_int_equal(PARSE("serve", "--H", "a"), TG_E_INVALID);
    assert_int_equal(PARSE("serve", "-H"), TG_E_INVALID);
    assert_non_null(strstr(said, "-H needs a value: -H FIELD"));
}

static void test_values_are_bounded(void **state)
{
    char *argv[3 + 2 * (TG_ARGS_GIVEN_MAX + 1)] = {"tidegate", "serve"};
    (void)state;
    for (int i = 0; i <= TG_ARGS_GIVEN_MAX; i++) {
        argv[2 + 2 * i] = "-H";
        argv[3 + 2 * i] = "a";
    }
    assert_int_equal(parse(argv), TG_E_INVALID);
    assert_non_null(strstr(said, "more than 32 options with a value"));
    argv[2 + 2 * TG_ARGS_GIVEN_MAX] = NULL;
    assert_int_equal(parse(argv), TG_OK);
    assert_int_equal(args.given_count, TG_ARGS_GIVEN_MAX);
}

static void test_options_stand_before_or_after_operands(void **state)
{
    (void)state;
    assert_int_equal(PARSE("serve", "--quiet", "a.lua", "--single"), TG_OK);
    assert_string_equal(args.operands[0], "a.lua");
    assert_int_equal(args.operand_count, 1);
    assert_int_equal(args.options, 3);
    assert_int_equal(PARSE("serve", "--quiet"), TG_OK);
    assert_int_equal(args.options, 2);
}

static void test_after_two_dashes_all_is_operand(void **state)
{
    (void)state;
    assert_int_equal(PARSE("serve", "--", "--single"), TG_OK);
    assert_string_equal(args.operands[0], "--single");
    assert_int_equal(args.options, 0);
}

static void test_options_that_stand_for_commands(void **state)
{
    (void)state;
    assert_int_equal(PARSE("--version"), TG_OK);
    assert_ptr_equal(args.command, &version);
    assert_int_equal(PARSE("-V"), TG_OK);
    assert_ptr_equal(args.command, &version);
    assert_int_equal(PARSE("--help"), TG_OK);
    assert_ptr_equal(args.command, &help);
    assert_int_equal(PARSE("-h", "serve"), TG_OK);
    assert_string_equal(args.operands[0], "serve");
}

static void test_help_after_a_command_is_about_it(void **state)
{
    (void)state;
    assert_int_equal(PARSE("serve", "a.lua", "--help"), TG_OK);
    assert_ptr_equal(args.command, &help);
    assert_int_equal(args.operand_count, 1);
    assert_string_equal(args.operands[0], "serve");
    assert_int_equal(args.options, 0);
}

static void test_nothing_at_all(void **state)
{
    (void)state;
    assert_int_equal(parse((char *[]){"tidegate", NULL}), TG_E_INVALID);
    assert_string_equal(said,
                        "tidegate: a command is missing; `tidegate help` lists the commands\n");
}

static void test_unknown_commands(void **state)
{
    (void)state;
    assert_int_equal(PARSE("chekc"), TG_E_INVALID);
    assert_string_equal(said, "tidegate: unknown command \"chekc\"; did you mean \"check\"? "
                              "`tidegate help` lists the commands\n");
    assert_int_equal(PARSE("ver"), TG_E_INVALID);
    assert_non_null(strstr(said, "did you mean \"version\"?"));
    assert_int_equal(PARSE("gateway.lua"), TG_E_INVALID);
    assert_non_null(strstr(said, "to serve that file: tidegate run gateway.lua; "));
    assert_int_equal(PARSE("entirely"), TG_E_INVALID);
    assert_null(strstr(said, "did you mean"));
    assert_int_equal(PARSE(""), TG_E_INVALID);
    assert_null(strstr(said, "did you mean"));
}

static void test_unknown_options(void **state)
{
    (void)state;
    assert_int_equal(PARSE("serve", "--singel"), TG_E_INVALID);
    assert_string_equal(said,
                        "tidegate serve: unknown option \"--singel\"; did you mean \"--single\"? "
                        "`tidegate help serve` lists the options\n");
    assert_int_equal(PARSE("serve", "-single"), TG_E_INVALID);
    assert_non_null(strstr(said, "did you mean \"--single\"?"));
    assert_int_equal(PARSE("check", "--single"), TG_E_INVALID);
    assert_null(strstr(said, "did you mean"));
}

static void test_too_many_operands(void **state)
{
    (void)state;
    assert_int_equal(PARSE("serve", "a.lua", "b.lua"), TG_E_INVALID);
    assert_string_equal(said, "tidegate serve: \"b.lua\" is one word too many; usage: tidegate "
                              "serve [FILE]\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command_alone),
        cmocka_unit_test(test_options_stand_before_or_after_operands),
        cmocka_unit_test(test_an_option_has_a_value),
        cmocka_unit_test(test_a_letter_has_one_dash_and_values_come_in_their_order),
        cmocka_unit_test(test_values_are_bounded),
        cmocka_unit_test(test_after_two_dashes_all_is_operand),
        cmocka_unit_test(test_options_that_stand_for_commands),
        cmocka_unit_test(test_help_after_a_command_is_about_it),
        cmocka_unit_test(test_nothing_at_all),
        cmocka_unit_test(test_unknown_commands),
        cmocka_unit_test(test_unknown_options),
        cmocka_unit_test(test_too_many_operands),
    };

    return cmocka_run_group_tests_name("args", tests, NULL, NULL);
}
