package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"barid/internal/app"
)

func dkimCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "dkim",
		Short: "Print the DNS records of the keys that sign outgoing mail",
		Long: "Print the DNS records of the keys that sign outgoing mail, as lines of a zone\n" +
			"file. Other servers refuse our mail until one of them is published.",
		Args: cobra.NoArgs,
	}
	ask := askingFlags(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		relay, err := ask.dial(cmd)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), statusTimeout)
		defer cancel()
		var d app.DKIM
		if err := relay.Ask(ctx, "/dkim", nil, &d); err != nil {
			return failed(err)
		}
		return ask.print(cmd, d, func(w io.Writer) error { return printDKIM(w, d) })
	}
	return c
}

func printDKIM(w io.Writer, d app.DKIM) error {
	if len(d.Keys) == 0 {
		_, err := fmt.Fprintln(w, "; a relay at an address signs nothing")
		return err
	}
	for _, k := range d.Keys {
		if _, err := fmt.Fprintln(w, k.Line); err != nil {
			return err
		}
	}
	return nil
}
