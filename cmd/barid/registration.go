package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"barid/internal/app"
	"barid/internal/config"
)

func registrationCommand() *cobra.Command {
	return withVerbs(&cobra.Command{
		Use:   "registration",
		Short: "Open and close registration while the relay runs",
		Long: `Open and close registration while the relay runs; it stays so when the relay
is started anew.

What is closed takes no new accounts, and the pages and /new say so at once;
who has an account is served. accounts.registration in the configuration is
the most that can be open. Closing is also a file nocreate in the data
directory, which may be made and removed by hand.`,
	}, registrationVerb("open", "Let accounts be made, as far as the configuration does", config.RegistrationOpen),
		registrationVerb("close", "Let no account be made", config.RegistrationClosed),
		registrationVerb("status", "Tell who may have a new account", ""))
}

func registrationVerb(use, short, set string) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs}
	ask := askingFlags(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		var r app.Registration
		if err := ask.ask(cmd, statusTimeout, "/registration", app.RegistrationSet{Set: set}, &r); err != nil {
			return err
		}
		return ask.print(cmd, r, func(w io.Writer) error { return renderRegistration(w, set, r) })
	}
	return c
}

// renderRegistration tells how it is, and when that is not what was asked for,
// why.
func renderRegistration(w io.Writer, set string, r app.Registration) error {
	_, err := fmt.Fprintf(w, "registration: %s\n", r.Says)
	if err == nil && set == config.RegistrationOpen && r.Now == config.RegistrationClosed {
		_, err = fmt.Fprintf(w, "It stays closed: the configuration has accounts.registration = %q; change that and start the relay anew.\n", r.Configured)
	}
	return err
}
