"""What servers that this machine does not have say of themselves, from their manuals."""

from services.dbwatch.mysql_reading import source
from services.dbwatch.reading import Source

MYSQL_8 = {
    "Replica_IO_State": "Waiting for source to send event",
    "Source_Host": "db1",
    "Source_Port": 3306,
    "Replica_IO_Running": "Yes",
    "Replica_SQL_Running": "No",
    "Seconds_Behind_Source": None,
    "Last_IO_Error": "",
    "Last_SQL_Errno": 1062,
    "Last_SQL_Error": "Duplicate entry 'ann@example.com' for key 'email'",
    "Source_Server_Id": 4,
    "Channel_Name": "",
}
MYSQL_5 = {
    "Slave_IO_State": "Connecting to master",
    "Master_Host": "db1",
    "Master_Port": 3306,
    "Slave_IO_Running": "Connecting",
    "Slave_SQL_Running": "Yes",
    "Seconds_Behind_Master": 12,
    "Last_IO_Error": "error connecting\n",
    "Last_SQL_Errno": 0,
    "Last_SQL_Error": "",
    "Master_Server_Id": 0,
}


def test_names_of_today_and_of_before() -> None:
    assert source(MYSQL_8) == Source(
        place="db1:3306",
        server=4,
        connected=True,
        applying=False,
        lag=None,
        error="error 1062, the server's log tells more",
    )
    assert source(MYSQL_5) == Source(
        place="db1:3306", server=0, connected=False, applying=True, lag=12.0, error="error connecting "
    )
