package main

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"barid/internal/admin"
)

// statusTimeout bounds the wait for a relay's answer.
const statusTimeout = 10 * time.Second

func statusCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "Ask the running relay how it is",
		Args:  cobra.NoArgs,
	}
	ask := askingFlags(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		relay, err := ask.dial(cmd)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), statusTimeout)
		defer cancel()
		s, err := relay.Status(ctx)
		if err != nil {
			return failed(err)
		}
		return ask.print(cmd, s, func(w io.Writer) error { return admin.Render(s, w) })
	}
	return c
}
