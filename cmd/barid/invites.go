package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/skip2/go-qrcode"
	"github.com/spf13/cobra"

	"barid/internal/app"
	"barid/internal/config"
)

func invitesCommand() *cobra.Command {
	return withVerbs(&cobra.Command{
		Use:   "invites",
		Short: "Make, list and revoke invitations",
		Long: `Make, list and revoke invitations, where the configuration has
accounts.registration = "invites": then an account can only be made with one.

Whoever has an invitation asks for an address with it, which takes one use and
is kept for 24 hours until its first login; an address that nobody used until
then gives its use back. An app that failed may ask again after a minute: its
new address takes the place of the one that was not used.`,
	}, invitesMakeCommand(), invitesListCommand(), invitesRevokeCommand())
}

func invitesMakeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "make",
		Short: "Make an invitation, and print its link and QR code, which are shown only now",
		Args:  cobra.NoArgs,
	}
	ask := askingFlags(c)
	uses := c.Flags().Int("uses", 1, "how many accounts it is good for")
	expires := c.Flags().String("expires", "7d", `how long it is good, such as "12h" or "30d"`)
	note := c.Flags().String("note", "", "a note for your list")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		life, err := parseSpan(*expires)
		if err != nil {
			return fmt.Errorf("--expires: %w", err)
		}
		var made app.InviteMade
		q := app.InviteMake{Uses: *uses, Seconds: int64(life / time.Second), Note: *note}
		if err := ask.ask(cmd, statusTimeout, "/invites/make", q, &made); err != nil {
			return err
		}
		return ask.print(cmd, made, func(w io.Writer) error { return renderInvite(w, made) })
	}
	return c
}

// renderInvite prints an invitation to pass on.
func renderInvite(w io.Writer, made app.InviteMade) error {
	code, err := qrcode.New(made.URI, qrcode.Low)
	if err != nil {
		return fmt.Errorf("QR code of an invitation: %w", err)
	}
	_, err = fmt.Fprintf(w, `Invitation %s, good for %s until %s

%s
For the app:    %s
For a browser:  %s
Neither is shown again.
`, made.Invite.ID, counted(made.Invite.Uses, "account"), made.Invite.Expires.Format("2006-01-02 15:04 MST"), draw(code, isTerminal(w)), made.URI, made.Page)
	return err
}

func invitesListCommand() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the invitations", Args: cobra.NoArgs}
	ask := askingFlags(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		var list []app.Invite
		if err := ask.ask(cmd, statusTimeout, "/invites", nil, &list); err != nil {
			return err
		}
		return ask.print(cmd, list, func(w io.Writer) error { return renderInvites(w, list, time.Now()) })
	}
	return c
}

func renderInvites(w io.Writer, list []app.Invite, now time.Time) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, `there are no invitations; "barid invites make" makes one`)
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tLEFT\tBORN\tRESERVED\tOF\tEXPIRES\tNOTE")
	for _, i := range list {
		until := i.Expires.Format("2006-01-02 15:04 MST")
		if !i.Expires.After(now) {
			until = "expired"
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%s\t%s\n", i.ID, i.Left, i.Born, i.Reserved, i.Uses, until, i.Note)
	}
	return t.Flush()
}

func invitesRevokeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "revoke ID...",
		Short: "End invitations, and the addresses that wait for their first login by them",
		Args:  cobra.MinimumNArgs(1),
	}
	ask := askingFlags(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		relay, err := ask.dial(cmd)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), statusTimeout)
		defer cancel()
		for _, id := range args {
			if err := relay.Ask(ctx, "/invites/revoke", app.InviteRevoke{ID: id}, &struct{}{}); err != nil {
				return failed(fmt.Errorf("%s: %w", id, err))
			}
		}
		return ask.print(cmd, args, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "revoked: %s\n", strings.Join(args, " "))
			return err
		})
	}
	return c
}

// parseSpan reads a time span as the configuration does, above zero.
func parseSpan(s string) (time.Duration, error) {
	if span, err := config.ParseDuration(s); err == nil && span > 0 {
		return time.Duration(span), nil
	}
	return 0, fmt.Errorf(`must be a time span such as "90m", "12h" or "7d", not %q`, s)
}
