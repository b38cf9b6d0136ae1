// Barid is a chatmail relay in one binary.
//
// Exit codes: 0 when all went well, 1 for a failure, 2 for a wrong command
// line or configuration. Errors go to standard error, one line each.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"barid/internal/config"
)

// Exit codes.
const (
	exitFailure = 1 // it was asked rightly and did not work
	exitUsage   = 2 // a wrong command line or configuration
)

func main() {
	os.Exit(execute(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// execute runs one command line and gives the exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	printError(stderr, err)
	if _, ok := errors.AsType[failure](err); ok {
		return exitFailure
	}
	return exitUsage
}

// failure marks an error that is neither the command line's nor the
// configuration's.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// failed marks err as a failure; nil stays nil.
func failed(err error) error {
	if err == nil {
		return nil
	}
	return failure{err}
}

// printError writes err in one line, or the problems of a configuration in
// one line each.
func printError(w io.Writer, err error) {
	if problems, ok := errors.AsType[*config.Errors](err); ok {
		fmt.Fprintln(w, problems)
		return
	}
	fmt.Fprintln(w, "barid:", strings.Join(strings.Split(strings.TrimSpace(err.Error()), "\n"), "; "))
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "barid",
		Short:         "A chatmail relay in one binary",
		Long:          "barid is a chatmail relay in one binary.\n\nExit codes: 1 for a failure, 2 for a wrong command line or configuration.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errors.New(`what shall it do? "barid help" lists the commands`)
		},
	}
	root.PersistentFlags().String("config", "", "the configuration file (default $BARID_CONFIG, ./barid.toml, /etc/barid/barid.toml)")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(accountsCommand(), registrationCommand(), invitesCommand(), expireCommand(), storeCommand(), queueCommand(), peersCommand())
	root.AddCommand(runCommand(), statusCommand(), dkimCommand(), pushCommand(), restartCommand(), tlsCommand(), turnCommand(), configCommand(), initCommand(), checkCommand(), dnsCommand(), versionCommand())
	root.AddCommand(importCommand(), exportCommand())
	return root
}

// withVerbs gives c the commands below it, of which it wants one.
func withVerbs(c *cobra.Command, verbs ...*cobra.Command) *cobra.Command {
	var names []string
	for _, v := range verbs {
		names = append(names, strconv.Quote(v.Name()))
	}
	c.AddCommand(verbs...)
	c.Args = cobra.NoArgs
	c.RunE = func(*cobra.Command, []string) error {
		return fmt.Errorf("%s wants one of %s", c.Name(), strings.Join(names, ", "))
	}
	return c
}

// loadConfig finds and reads the configuration that a command line means.
func loadConfig(cmd *cobra.Command) (path string, cfg *config.Config, err error) {
	flag, err := cmd.Flags().GetString("config")
	if err != nil {
		return "", nil, err
	}
	path, err = config.Find(flag)
	if err != nil {
		return "", nil, err
	}
	cfg, err = config.Load(path)
	return path, cfg, err
}
