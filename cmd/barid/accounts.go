package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"barid/internal/admin"
	"barid/internal/app"
)

func accountsCommand() *cobra.Command {
	return withVerbs(&cobra.Command{
		Use:   "accounts",
		Short: "List, show, freeze and delete accounts",
		Long: `List, show, freeze and delete accounts of the running relay.

A frozen account gets no mail and sends none; it can still log in and read what
it has. Freezing is also a file DISABLED in the account's directory, which may
be made and removed by hand.

A deleted account is gone with all its mail. Whoever knows its password, an app
that is still set up for instance, can have the name again, as anybody may have
a new account where registration is open; freeze what shall stay away.`,
	}, accountsListCommand(), accountsShowCommand(), freezeCommand(false), freezeCommand(true), accountsDeleteCommand())
}

func accountsListCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "list [PREFIX]",
		Short: "List accounts by name: address, day of the last login, frozen or not",
		Long:  "List accounts by name: address, day of the last login in UTC, frozen or not.\n\nWith --json, one object a line.",
		Args:  cobra.MaximumNArgs(1),
	}
	ask := askingFlags(c)
	older := c.Flags().String("older-than", "", `only accounts that nobody logged in to for so long, such as "90d"`)
	frozen := c.Flags().Bool("frozen", false, "only frozen accounts")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		q := app.AccountsList{Prefix: strings.Join(args, ""), Frozen: *frozen}
		if *older != "" {
			span, err := parseSpan(*older)
			if err != nil || span < 24*time.Hour {
				return fmt.Errorf(`--older-than must be a number of days, such as "90d", not %q`, *older)
			}
			q.IdleDays = int(span / (24 * time.Hour))
		}
		relay, err := ask.dial(cmd)
		if err != nil {
			return err
		}
		return failed(listAccounts(cmd.Context(), relay, q, *ask.json, cmd.OutOrStdout()))
	}
	return c
}

// listAccounts prints each account as it comes.
func listAccounts(ctx context.Context, relay *admin.Client, q app.AccountsList, asJSON bool, to io.Writer) error {
	w := bufio.NewWriter(to)
	rows, n := json.NewEncoder(w), 0
	err := admin.Follow(ctx, relay, "/accounts", q, func(r app.AccountRow) error {
		n++
		if asJSON {
			return rows.Encode(r)
		}
		line := fmt.Sprintf("%-40s  %-10s  %s", r.Address, lastLogin(r), frozenWord(r))
		_, err := fmt.Fprintln(w, strings.TrimRight(line, " "))
		return err
	})
	if err == nil && !asJSON {
		_, err = fmt.Fprintf(w, "%s\n", counted(n, "account"))
	}
	return errors.Join(err, w.Flush())
}

// counted gives "1 account", "2 accounts".
func counted(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

func lastLogin(r app.AccountRow) string {
	if r.LastLogin == "" {
		return "unknown"
	}
	return r.LastLogin
}

func frozenWord(r app.AccountRow) string {
	if r.Frozen {
		return "frozen"
	}
	return ""
}

func accountsShowCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "show ADDRESS",
		Short: "Show what an account holds",
		Args:  cobra.ExactArgs(1),
	}
	ask := askingFlags(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		relay, err := ask.dial(cmd)
		if err != nil {
			return err
		}
		d, err := showAccount(cmd.Context(), relay, args[0])
		if err != nil {
			return failed(err)
		}
		return ask.print(cmd, d, func(w io.Writer) error { return renderAccount(w, d) })
	}
	return c
}

func showAccount(ctx context.Context, relay *admin.Client, address string) (d app.AccountDetails, err error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	err = relay.Ask(ctx, "/accounts/show", app.AccountName{Address: address}, &d)
	return d, err
}

func renderAccount(w io.Writer, d app.AccountDetails) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", d.Address)
	if d.Frozen {
		b.WriteString("  frozen: gets no mail and sends none\n")
	}
	fmt.Fprintf(&b, "  last login  %s\n", lastLogin(d.AccountRow))
	quota := "no quota"
	if d.MaxOctets > 0 {
		quota = fmt.Sprintf("%.1f%% of %s", 100*float64(d.Octets)/float64(d.MaxOctets), octets(d.MaxOctets))
	}
	fmt.Fprintf(&b, "  holds       %s, %s (%s)\n", counted(int(d.Messages), "message"), octets(d.Octets), quota)
	fmt.Fprintf(&b, "  devices     %d to wake\n", d.Tokens)
	for _, m := range d.Mailboxes {
		fmt.Fprintf(&b, "  mailbox     %s: %s, %s\n", printable(m.Name), counted(m.Messages, "message"), octets(m.Octets))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printable shows a name that a client made up without letting it write to
// the terminal.
func printable(s string) string {
	return strings.Trim(fmt.Sprintf("%q", s), `"`)
}

// octets writes a size for people.
func octets(n int64) string {
	v, unit := float64(n), 0
	for ; v >= 1024 && unit < 4; unit++ {
		v /= 1024
	}
	if unit == 0 {
		return fmt.Sprintf("%d octets", n)
	}
	return fmt.Sprintf("%.1f%c", v, " KMGT"[unit])
}

func freezeCommand(thaw bool) *cobra.Command {
	use, short, done := "freeze ADDRESS...", "Let no mail to or from these accounts", "frozen"
	if thaw {
		use, short, done = "unfreeze ADDRESS...", "Undo freeze", "not frozen"
	}
	c := &cobra.Command{Use: use, Short: short, Args: cobra.MinimumNArgs(1)}
	ask := askingFlags(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return eachAccount(cmd, ask, args, done, func(ctx context.Context, relay *admin.Client, address string) (row app.AccountRow, err error) {
			err = relay.Ask(ctx, "/accounts/freeze", app.AccountFreeze{Address: address, Thaw: thaw}, &row)
			return row, err
		})
	}
	return c
}

// eachAccount does f to each account, all of them even if one fails, and
// prints what was done.
func eachAccount(cmd *cobra.Command, ask asking, addresses []string, done string, f func(context.Context, *admin.Client, string) (app.AccountRow, error)) error {
	relay, err := ask.dial(cmd)
	if err != nil {
		return err
	}
	rows := []app.AccountRow{}
	var failures []error
	for _, address := range addresses {
		ctx, cancel := context.WithTimeout(cmd.Context(), statusTimeout)
		row, err := f(ctx, relay, address)
		cancel()
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", address, err))
			continue
		}
		rows = append(rows, row)
	}
	err = ask.print(cmd, rows, func(w io.Writer) error {
		for _, r := range rows {
			if _, err := fmt.Fprintf(w, "%s: %s\n", r.Address, done); err != nil {
				return err
			}
		}
		return nil
	})
	return failed(errors.Join(append(failures, err)...))
}

func accountsDeleteCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "delete ADDRESS...",
		Short: "Delete accounts with all their mail",
		Args:  cobra.MinimumNArgs(1),
	}
	ask := askingFlags(c)
	yes := c.Flags().Bool("yes", false, "do not ask")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if !*yes {
			if err := confirmDeletion(cmd, ask, args); err != nil {
				return failed(err)
			}
		}
		return eachAccount(cmd, ask, args, "deleted", func(ctx context.Context, relay *admin.Client, address string) (row app.AccountRow, err error) {
			err = relay.Ask(ctx, "/accounts/delete", app.AccountName{Address: address}, &row)
			return row, err
		})
	}
	return c
}

// confirmDeletion shows what would go and wants a yes from a terminal.
func confirmDeletion(cmd *cobra.Command, ask asking, addresses []string) error {
	if !isTerminal(cmd.InOrStdin()) {
		return errors.New("nobody is there to ask: say --yes to delete")
	}
	relay, err := ask.dial(cmd)
	if err != nil {
		return err
	}
	for _, address := range addresses {
		d, err := showAccount(cmd.Context(), relay, address)
		if err != nil {
			return fmt.Errorf("%s: %w", address, err)
		}
		if err := renderAccount(cmd.ErrOrStderr(), d); err != nil {
			return err
		}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "Delete it, with all mail? [y/N] ")
	return wantYes(cmd.InOrStdin())
}

// wantYes reads the answer to a question.
func wantYes(r io.Reader) error {
	line, err := bufio.NewReader(io.LimitReader(r, 100)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was deleted")
}
