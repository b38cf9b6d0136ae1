package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"barid/internal/app"
)

func turnCommand() *cobra.Command {
	return withVerbs(&cobra.Command{
		Use:   "turn",
		Short: "Look after the relaying of calls",
	}, turnStatusCommand(), turnRotateCommand())
}

func turnStatusCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "Tell how many calls are relayed",
		Args:  cobra.NoArgs,
	}
	asking := askingFlags(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		var s app.TURNState
		if err := asking.ask(cmd, statusTimeout, "/turn/status", nil, &s); err != nil {
			return err
		}
		return asking.print(cmd, s, func(w io.Writer) error {
			if !s.Enabled {
				_, err := fmt.Fprintln(w, "calls are off (turn.enabled)")
				return err
			}
			_, err := fmt.Fprintf(w, "allocations: %d of at most %d\n", s.Allocations, s.Max)
			return err
		})
	}
	return c
}

func turnRotateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Make credentials for calls with a new secret from now on",
		Long: "Make credentials for calls with a new secret from now on.\n\n" +
			"Credentials that clients have stay good until they end, within a week.",
		Args: cobra.NoArgs,
	}
	asking := askingFlags(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		var r app.TURNRotated
		if err := asking.ask(cmd, statusTimeout, "/turn/rotate", nil, &r); err != nil {
			return err
		}
		return asking.print(cmd, r, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, "the secret is a new one; earlier credentials stay good until they end, within a week")
			return err
		})
	}
	return c
}
