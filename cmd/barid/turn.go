package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"barid/internal/app"
)

func turnCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "turn",
		Short: "Look after the relaying of calls",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New(`turn wants one of "status", "rotate"`)
		},
	}
	c.AddCommand(turnStatusCommand(), turnRotateCommand())
	return c
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
		if err := askTURN(cmd, asking, "/turn/status", &s); err != nil {
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
		if err := askTURN(cmd, asking, "/turn/rotate", &r); err != nil {
			return err
		}
		return asking.print(cmd, r, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, "the secret is a new one; earlier credentials stay good until they end, within a week")
			return err
		})
	}
	return c
}

// askTURN asks the running relay and reads its answer.
func askTURN(cmd *cobra.Command, asking asking, path string, answer any) error {
	relay, err := asking.dial(cmd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), statusTimeout)
	defer cancel()
	return failed(relay.Ask(ctx, path, nil, answer))
}
