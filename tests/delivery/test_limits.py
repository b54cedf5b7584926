"""How many connections and recipients at a time, and that what must wait keeps nobody else from their mail."""

from __future__ import annotations

from tests.config_meaning.loading import compiled
from tests.delivery.test_queue import House, house, wait
from tests.support.sink import SILENT, Sink


def _silent() -> Sink:
    """A hop that accepts connections and never says a word."""
    return Sink(script={"BANNER": [SILENT] * 200})


def _settle(home: House, active: int, waiting: int) -> None:
    wait(lambda: (home.delivery.stats().active, home.delivery.stats().waiting) == (active, waiting), "what may start")


def test_max_recipients_per_batch_is_the_size_of_a_transaction() -> None:
    with Sink() as sink:
        conf = compiled(
            f'gateway = "{sink.gateway}"\n'
            'Domain "b.example" { max_recipients_per_batch = 3 }\nmax_recipients_per_batch = 2'
        )
        with house(conf) as home:
            home.accept(*(f"u{number}@a.example" for number in range(5)))
            wait(lambda: home.delivery.stats().delivered == 5, "five recipients")
            home.accept(*(f"u{number}@b.example" for number in range(5)))
            wait(lambda: home.delivery.stats().delivered == 10, "ten recipients")
        sizes = [len(message.rcpts) for message in sink.messages]
        assert (sorted(sizes[:3]), sorted(sizes[3:])) == ([1, 2, 2], [2, 3])


def test_what_one_connection_took_is_noted_while_the_next_one_hangs() -> None:
    """Were it noted with the others' end only, a kill meanwhile would have it delivered again."""
    with Sink(script={"BODY": [b"250 2.0.0 taken\r\n", SILENT]}) as sink:
        conf = compiled(f'gateway = "{sink.gateway}"\nmax_recipients_per_connection = 1')
        with house(conf) as home:
            home.accept("u1@a.example", "u2@a.example")
            wait(lambda: home.delivery.stats().delivered == 1, "the record of the first")
            assert home.delivery.stats().active == 1


def test_scope_max_outbound_connections_is_shared_by_all_that_fall_back_to_the_scope() -> None:
    with _silent() as slow, Sink() as other:
        conf = compiled(
            f"""
            Domain "/^s/" {{ routes = ( "{slow.gateway}" "127.0.0.9" )  scope_max_outbound_connections = 3 }}
            Domain "s1.example" {{ routes = ( "{slow.gateway}" "127.0.0.8" ) }}
            Domain "other.example" {{ gateway = "{other.gateway}" }}
            """
        )
        with house(conf, window=2000) as home:
            for number in range(10):
                home.accept(f"u@s{number % 2}.example")
            _settle(home, active=3, waiting=7)
            home.accept("u@other.example")
            wait(lambda: home.delivery.stats().delivered == 1, "mail to the other")
            assert home.delivery.stats().active == 3


def test_mail_that_went_back_to_the_spool_takes_no_turn_from_others_at_a_full_scope() -> None:
    """An operator's change or a reload empties lanes that stand in line for a place: the next in line gets it."""
    with Sink() as alive, _silent() as slow:
        conf = compiled(
            f"""
            Domain "/^s/" {{ gateway = "{slow.gateway}"  scope_max_outbound_connections = 1 }}
            Domain "s2.example" {{ gateway = "{alive.gateway}" }}
            """
        )
        with house(conf) as home:
            home.accept("u@s1.example")
            _settle(home, active=1, waiting=0)
            home.accept("u@s2.example")
            _settle(home, active=1, waiting=1)
            home.delivery.give_back()
            _settle(home, active=1, waiting=1)
            slow.__exit__(None, None, None)
            wait(lambda: home.delivery.stats().delivered == 1, "the mail that waited")


def test_server_max_outbound_connections_of_a_binding_is_that_bindings_own() -> None:
    with _silent() as slow:
        conf = compiled(
            f"""
            gateway = "{slow.gateway}"
            Binding_Group "g" {{ server_max_outbound_connections = 4  Binding "a" {{ }}  Binding "b" {{ }} }}
            Binding "c" {{ }}
            """
        )
        with house(conf, window=2000) as home:
            for binding in "abc" * 5:
                home.accept_by(binding, "u@a.example")
            _settle(home, active=4 + 5, waiting=6)
            assert home.delivery.active_destinations == 3, "connections are a binding's own"


def test_the_reserve_is_for_destinations_with_nothing_under_way() -> None:
    with _silent() as slow, _silent() as late:
        conf = compiled(
            "server_max_outbound_connections = 10\nserver_reserve_outbound_connections = 1\n"
            f'gateway = "{slow.gateway}"\n'
            f'Domain "late.example" {{ gateway = "{late.gateway}" }}'
        )
        with house(conf, window=2000) as home:
            for _ in range(12):
                home.accept("u@a.example")
            _settle(home, active=9, waiting=3)
            home.accept("u@late.example")
            _settle(home, active=10, waiting=3)
            assert home.delivery.active_destinations == 2


def test_idle_connections_give_way_when_the_server_has_no_more() -> None:
    with Sink() as one, Sink() as two, Sink() as three:
        sinks = (one, two, three)
        domains = "\n".join(f'Domain "d{n}.example" {{ gateway = "{sink.gateway}" }}' for n, sink in enumerate(sinks))
        with house(compiled(f"server_max_outbound_connections = 2\nidle_timeout = 600\n{domains}")) as home:
            for number in range(3):
                home.accept(f"u@d{number}.example")
                wait(lambda: home.delivery.stats().delivered == number + 1, "delivery")  # noqa: B023 - waited for here
            assert home.delivery.stats().connections_idle == 2
            home.accept("u@d2.example")
            wait(lambda: home.delivery.stats().delivered == 4, "delivery over the connection that is open")
            assert [sink.connections for sink in sinks] == [1, 1, 1]
            home.accept("u@d0.example")
            wait(lambda: home.delivery.stats().delivered == 5, "delivery over a new connection")
            assert [sink.connections for sink in sinks] == [2, 1, 1], "the oldest idle one had gone"


def test_hops_that_never_answer_leave_room_for_all_others() -> None:
    """Ten accept connections and say nothing; together they have twice as much mail as the window holds."""
    with _silent() as slow, Sink() as alive:
        domains = "\n".join(
            f'Domain "slow{n}.example" {{ routes = ( "{slow.gateway}" "127.0.1.{n}" ) }}' for n in range(10)
        )
        conf = compiled(f'gateway = "{alive.gateway}"\n{domains}')
        with house(conf, window=200) as home:
            for number in range(10):
                for _ in range(40):
                    home.accept(f"u@slow{number}.example")
            for number in range(50):
                home.accept(f"u@alive{number}.example")
            wait(lambda: home.delivery.stats().delivered == 50, "all mail to those that are alive")
            assert home.delivery.stats().deferrals == 0


def test_ten_thousand_domains_that_wait_keep_nobody_from_their_mail() -> None:
    with _silent() as slow, Sink() as alive:
        conf = compiled(
            f'gateway = "{slow.gateway}"\nmax_outbound_connections = 2\n'
            f'Domain "alive.example" {{ gateway = "{alive.gateway}" }}'
        )
        with house(conf) as home:
            for number in range(100):
                home.accept(*(f"u@d{number}-{more}.example" for more in range(100)))
            home.accept("u@alive.example")
            wait(lambda: home.delivery.stats().delivered == 1, "mail to the one that is alive")


def test_mail_by_another_binding_does_not_wait_for_one_that_is_full() -> None:
    with _silent() as slow, Sink() as alive:
        conf = compiled(
            f"""
            Binding "a" {{ gateway = "{slow.gateway}" max_outbound_connections = 1 }}
            Binding "b" {{ gateway = "{alive.gateway}" }}
            """
        )
        with house(conf, window=20) as home:
            for _ in range(30):
                home.accept_by("a", "u@same.example")
            for _ in range(30):
                home.accept_by("b", "u@same.example")
            wait(lambda: home.delivery.stats().delivered == 30, "mail by the other binding")
            told = {(attempt.binding, attempt.group) for attempt in home.told.deliveries}
            assert told == {("b", "default")}
