package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"barid/acme"
	"barid/internal/admin"
	"barid/internal/app"
)

func tlsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "tls",
		Short: "Show the certificates in service, and renew them",
		Args:  cobra.NoArgs,
	}
	ask := askingFlags(c)
	renew := c.Flags().Bool("renew", false, "ask the authority for new certificates now")
	newKey := c.Flags().Bool("new-key", false, "make another private key, and certificates for it; clients that remember keys will notice")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		relay, err := ask.dial(cmd)
		if err != nil {
			return err
		}
		var all []acme.Served
		if *renew || *newKey {
			err = admin.Follow(cmd.Context(), relay, "/tls/renew", app.Renewal{NewKey: *newKey}, func(s []acme.Served) error {
				all = s
				return nil
			})
		} else {
			ctx, cancel := context.WithTimeout(cmd.Context(), statusTimeout)
			defer cancel()
			err = relay.Ask(ctx, "/tls", nil, &all)
		}
		if err != nil {
			return failed(err)
		}
		return ask.print(cmd, all, func(w io.Writer) error { return renderTLS(w, all, time.Now()) })
	}
	return c
}

// renderTLS writes a paragraph for each certificate.
func renderTLS(w io.Writer, all []acme.Served, now time.Time) error {
	for n, s := range all {
		if n > 0 {
			fmt.Fprintln(w)
		}
		by := s.From
		if s.SelfSigned {
			by = "itself"
		}
		fmt.Fprintf(w, "%s\n", s.Name)
		fmt.Fprintf(w, "  names   %s\n", strings.Join(s.Names, ", "))
		fmt.Fprintf(w, "  signed  by %s on %s\n", by, s.Since.UTC().Format(time.DateTime))
		fmt.Fprintf(w, "  until   %s UTC (%d days)\n", s.Until.UTC().Format(time.DateTime), int(s.Until.Sub(now).Hours()/24))
		if _, err := fmt.Fprintf(w, "  key     sha256 %s\n", s.Key); err != nil {
			return err
		}
		if s.Failures > 0 {
			fmt.Fprintf(w, "  failed  %d times, last on %s UTC: %s\n", s.Failures, s.LastTry.UTC().Format(time.DateTime), s.LastError)
			fmt.Fprintf(w, "  next    %s UTC\n", s.NextTry.UTC().Format(time.DateTime))
		}
	}
	return nil
}
